// Prints, as JSON, what the npm SDK says of a toolset: the names of its tools, and the answer of one of them.
// Arguments: the URL, the token, a tool and its arguments.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const [url, token, tool, given] = process.argv.slice(1);
const client = new Client({ name: "test", version: "1.0.0" });
await client.connect(
  new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers: { Authorization: `Bearer ${token}` } } }),
);
const { tools } = await client.listTools();
const answer = await client.callTool({ name: tool, arguments: JSON.parse(given) });
await client.close();
console.log(JSON.stringify({ names: tools.map((each) => each.name), answer }));
