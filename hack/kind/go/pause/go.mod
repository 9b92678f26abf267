module swarm.claudeflow.io/hack/kind/pause

go 1.24.0
