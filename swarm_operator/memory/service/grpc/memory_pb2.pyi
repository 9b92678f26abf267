import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Entry(_message.Message):
    __slots__ = ("namespace", "key", "version", "value", "tags", "metadata", "ttl", "created_at", "updated_at", "expires_at", "accessed_at", "updated_by")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    ACCESSED_AT_FIELD_NUMBER: _ClassVar[int]
    UPDATED_BY_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    key: str
    version: int
    value: bytes
    tags: _containers.RepeatedScalarFieldContainer[str]
    metadata: bytes
    ttl: int
    created_at: _timestamp_pb2.Timestamp
    updated_at: _timestamp_pb2.Timestamp
    expires_at: _timestamp_pb2.Timestamp
    accessed_at: _timestamp_pb2.Timestamp
    updated_by: str
    def __init__(self, namespace: _Optional[str] = ..., key: _Optional[str] = ..., version: _Optional[int] = ..., value: _Optional[bytes] = ..., tags: _Optional[_Iterable[str]] = ..., metadata: _Optional[bytes] = ..., ttl: _Optional[int] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., updated_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., accessed_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., updated_by: _Optional[str] = ...) -> None: ...

class Identity(_message.Message):
    __slots__ = ("namespace", "key")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    key: str
    def __init__(self, namespace: _Optional[str] = ..., key: _Optional[str] = ...) -> None: ...

class PutRequest(_message.Message):
    __slots__ = ("namespace", "key", "value", "tags", "metadata", "ttl", "create_only", "if_version", "vector", "on_duplicate", "threshold")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    CREATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    IF_VERSION_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    ON_DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    key: str
    value: bytes
    tags: _containers.RepeatedScalarFieldContainer[str]
    metadata: bytes
    ttl: int
    create_only: bool
    if_version: int
    vector: _containers.RepeatedScalarFieldContainer[float]
    on_duplicate: str
    threshold: float
    def __init__(self, namespace: _Optional[str] = ..., key: _Optional[str] = ..., value: _Optional[bytes] = ..., tags: _Optional[_Iterable[str]] = ..., metadata: _Optional[bytes] = ..., ttl: _Optional[int] = ..., create_only: _Optional[bool] = ..., if_version: _Optional[int] = ..., vector: _Optional[_Iterable[float]] = ..., on_duplicate: _Optional[str] = ..., threshold: _Optional[float] = ...) -> None: ...

class PutResponse(_message.Message):
    __slots__ = ("entry", "created", "duplicate")
    class Duplicate(_message.Message):
        __slots__ = ("key", "cosine")
        KEY_FIELD_NUMBER: _ClassVar[int]
        COSINE_FIELD_NUMBER: _ClassVar[int]
        key: str
        cosine: float
        def __init__(self, key: _Optional[str] = ..., cosine: _Optional[float] = ...) -> None: ...
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    entry: Entry
    created: bool
    duplicate: PutResponse.Duplicate
    def __init__(self, entry: _Optional[_Union[Entry, _Mapping]] = ..., created: _Optional[bool] = ..., duplicate: _Optional[_Union[PutResponse.Duplicate, _Mapping]] = ...) -> None: ...

class GetRequest(_message.Message):
    __slots__ = ("namespace", "key")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    key: str
    def __init__(self, namespace: _Optional[str] = ..., key: _Optional[str] = ...) -> None: ...

class GetManyRequest(_message.Message):
    __slots__ = ("identities",)
    IDENTITIES_FIELD_NUMBER: _ClassVar[int]
    identities: _containers.RepeatedCompositeFieldContainer[Identity]
    def __init__(self, identities: _Optional[_Iterable[_Union[Identity, _Mapping]]] = ...) -> None: ...

class GetManyResponse(_message.Message):
    __slots__ = ("results",)
    class Found(_message.Message):
        __slots__ = ("entry",)
        ENTRY_FIELD_NUMBER: _ClassVar[int]
        entry: Entry
        def __init__(self, entry: _Optional[_Union[Entry, _Mapping]] = ...) -> None: ...
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[GetManyResponse.Found]
    def __init__(self, results: _Optional[_Iterable[_Union[GetManyResponse.Found, _Mapping]]] = ...) -> None: ...

class DeleteRequest(_message.Message):
    __slots__ = ("namespace", "key", "if_version")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    IF_VERSION_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    key: str
    if_version: int
    def __init__(self, namespace: _Optional[str] = ..., key: _Optional[str] = ..., if_version: _Optional[int] = ...) -> None: ...

class DeleteResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DeleteRangeRequest(_message.Message):
    __slots__ = ("namespace", "prefix")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    prefix: str
    def __init__(self, namespace: _Optional[str] = ..., prefix: _Optional[str] = ...) -> None: ...

class DeleteRangeResponse(_message.Message):
    __slots__ = ("deleted",)
    DELETED_FIELD_NUMBER: _ClassVar[int]
    deleted: int
    def __init__(self, deleted: _Optional[int] = ...) -> None: ...

class BatchRequest(_message.Message):
    __slots__ = ("operations", "independent")
    class Operation(_message.Message):
        __slots__ = ("put", "delete", "get")
        PUT_FIELD_NUMBER: _ClassVar[int]
        DELETE_FIELD_NUMBER: _ClassVar[int]
        GET_FIELD_NUMBER: _ClassVar[int]
        put: PutRequest
        delete: DeleteRequest
        get: GetRequest
        def __init__(self, put: _Optional[_Union[PutRequest, _Mapping]] = ..., delete: _Optional[_Union[DeleteRequest, _Mapping]] = ..., get: _Optional[_Union[GetRequest, _Mapping]] = ...) -> None: ...
    OPERATIONS_FIELD_NUMBER: _ClassVar[int]
    INDEPENDENT_FIELD_NUMBER: _ClassVar[int]
    operations: _containers.RepeatedCompositeFieldContainer[BatchRequest.Operation]
    independent: bool
    def __init__(self, operations: _Optional[_Iterable[_Union[BatchRequest.Operation, _Mapping]]] = ..., independent: _Optional[bool] = ...) -> None: ...

class BatchResponse(_message.Message):
    __slots__ = ("results",)
    class Result(_message.Message):
        __slots__ = ("put", "deleted", "got", "problem")
        PUT_FIELD_NUMBER: _ClassVar[int]
        DELETED_FIELD_NUMBER: _ClassVar[int]
        GOT_FIELD_NUMBER: _ClassVar[int]
        PROBLEM_FIELD_NUMBER: _ClassVar[int]
        put: PutResponse
        deleted: bool
        got: GetManyResponse.Found
        problem: Problem
        def __init__(self, put: _Optional[_Union[PutResponse, _Mapping]] = ..., deleted: _Optional[bool] = ..., got: _Optional[_Union[GetManyResponse.Found, _Mapping]] = ..., problem: _Optional[_Union[Problem, _Mapping]] = ...) -> None: ...
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[BatchResponse.Result]
    def __init__(self, results: _Optional[_Iterable[_Union[BatchResponse.Result, _Mapping]]] = ...) -> None: ...

class Problem(_message.Message):
    __slots__ = ("code", "message", "details")
    class DetailsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    details: _containers.ScalarMap[str, str]
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ..., details: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ListRequest(_message.Message):
    __slots__ = ("namespace", "prefix", "page_size", "page_token")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    prefix: str
    page_size: int
    page_token: str
    def __init__(self, namespace: _Optional[str] = ..., prefix: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListResponse(_message.Message):
    __slots__ = ("entries", "next_page_token")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[Entry]
    next_page_token: str
    def __init__(self, entries: _Optional[_Iterable[_Union[Entry, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class SearchRequest(_message.Message):
    __slots__ = ("namespace", "subtree", "prefix", "glob", "tags", "any_tags", "metadata", "updated_since", "text", "match", "order", "without_values", "page_size", "page_token", "mode", "vector", "explain", "updated_by")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    SUBTREE_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    GLOB_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    ANY_TAGS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    UPDATED_SINCE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    MATCH_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_VALUES_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    UPDATED_BY_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    subtree: bool
    prefix: str
    glob: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    any_tags: _containers.RepeatedScalarFieldContainer[str]
    metadata: bytes
    updated_since: _timestamp_pb2.Timestamp
    text: str
    match: str
    order: str
    without_values: bool
    page_size: int
    page_token: str
    mode: str
    vector: _containers.RepeatedScalarFieldContainer[float]
    explain: bool
    updated_by: str
    def __init__(self, namespace: _Optional[str] = ..., subtree: _Optional[bool] = ..., prefix: _Optional[str] = ..., glob: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ..., any_tags: _Optional[_Iterable[str]] = ..., metadata: _Optional[bytes] = ..., updated_since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., text: _Optional[str] = ..., match: _Optional[str] = ..., order: _Optional[str] = ..., without_values: _Optional[bool] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., mode: _Optional[str] = ..., vector: _Optional[_Iterable[float]] = ..., explain: _Optional[bool] = ..., updated_by: _Optional[str] = ...) -> None: ...

class SearchResponse(_message.Message):
    __slots__ = ("hits", "next_page_token", "partial", "ranked", "fresh", "mode", "steps", "words")
    class Hit(_message.Message):
        __slots__ = ("entry", "score", "snippet", "rank", "words", "cosine", "matched")
        ENTRY_FIELD_NUMBER: _ClassVar[int]
        SCORE_FIELD_NUMBER: _ClassVar[int]
        SNIPPET_FIELD_NUMBER: _ClassVar[int]
        RANK_FIELD_NUMBER: _ClassVar[int]
        WORDS_FIELD_NUMBER: _ClassVar[int]
        COSINE_FIELD_NUMBER: _ClassVar[int]
        MATCHED_FIELD_NUMBER: _ClassVar[int]
        entry: Entry
        score: float
        snippet: str
        rank: int
        words: int
        cosine: float
        matched: _containers.RepeatedScalarFieldContainer[str]
        def __init__(self, entry: _Optional[_Union[Entry, _Mapping]] = ..., score: _Optional[float] = ..., snippet: _Optional[str] = ..., rank: _Optional[int] = ..., words: _Optional[int] = ..., cosine: _Optional[float] = ..., matched: _Optional[_Iterable[str]] = ...) -> None: ...
    class Step(_message.Message):
        __slots__ = ("name", "candidates", "milliseconds")
        NAME_FIELD_NUMBER: _ClassVar[int]
        CANDIDATES_FIELD_NUMBER: _ClassVar[int]
        MILLISECONDS_FIELD_NUMBER: _ClassVar[int]
        name: str
        candidates: int
        milliseconds: float
        def __init__(self, name: _Optional[str] = ..., candidates: _Optional[int] = ..., milliseconds: _Optional[float] = ...) -> None: ...
    HITS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_FIELD_NUMBER: _ClassVar[int]
    RANKED_FIELD_NUMBER: _ClassVar[int]
    FRESH_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    hits: _containers.RepeatedCompositeFieldContainer[SearchResponse.Hit]
    next_page_token: str
    partial: bool
    ranked: bool
    fresh: bool
    mode: str
    steps: _containers.RepeatedCompositeFieldContainer[SearchResponse.Step]
    words: int
    def __init__(self, hits: _Optional[_Iterable[_Union[SearchResponse.Hit, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., partial: _Optional[bool] = ..., ranked: _Optional[bool] = ..., fresh: _Optional[bool] = ..., mode: _Optional[str] = ..., steps: _Optional[_Iterable[_Union[SearchResponse.Step, _Mapping]]] = ..., words: _Optional[int] = ...) -> None: ...

class NamespacesRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class NamespacesResponse(_message.Message):
    __slots__ = ("namespaces", "next_page_token")
    class Namespace(_message.Message):
        __slots__ = ("namespace", "entries", "bytes")
        NAMESPACE_FIELD_NUMBER: _ClassVar[int]
        ENTRIES_FIELD_NUMBER: _ClassVar[int]
        BYTES_FIELD_NUMBER: _ClassVar[int]
        namespace: str
        entries: int
        bytes: int
        def __init__(self, namespace: _Optional[str] = ..., entries: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...
    NAMESPACES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    namespaces: _containers.RepeatedCompositeFieldContainer[NamespacesResponse.Namespace]
    next_page_token: str
    def __init__(self, namespaces: _Optional[_Iterable[_Union[NamespacesResponse.Namespace, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class StatsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StatsResponse(_message.Message):
    __slots__ = ("document",)
    DOCUMENT_FIELD_NUMBER: _ClassVar[int]
    document: bytes
    def __init__(self, document: _Optional[bytes] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("namespace", "prefix", "since")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    prefix: str
    since: int
    def __init__(self, namespace: _Optional[str] = ..., prefix: _Optional[str] = ..., since: _Optional[int] = ...) -> None: ...

class WatchResponse(_message.Message):
    __slots__ = ("ready", "change", "missed", "heartbeat")
    class Op(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        OP_UNSPECIFIED: _ClassVar[WatchResponse.Op]
        PUT: _ClassVar[WatchResponse.Op]
        DELETE: _ClassVar[WatchResponse.Op]
        EXPIRE: _ClassVar[WatchResponse.Op]
    OP_UNSPECIFIED: WatchResponse.Op
    PUT: WatchResponse.Op
    DELETE: WatchResponse.Op
    EXPIRE: WatchResponse.Op
    class Ready(_message.Message):
        __slots__ = ("position",)
        POSITION_FIELD_NUMBER: _ClassVar[int]
        position: int
        def __init__(self, position: _Optional[int] = ...) -> None: ...
    class Change(_message.Message):
        __slots__ = ("position", "op", "namespace", "key", "version", "at", "updated_by")
        POSITION_FIELD_NUMBER: _ClassVar[int]
        OP_FIELD_NUMBER: _ClassVar[int]
        NAMESPACE_FIELD_NUMBER: _ClassVar[int]
        KEY_FIELD_NUMBER: _ClassVar[int]
        VERSION_FIELD_NUMBER: _ClassVar[int]
        AT_FIELD_NUMBER: _ClassVar[int]
        UPDATED_BY_FIELD_NUMBER: _ClassVar[int]
        position: int
        op: WatchResponse.Op
        namespace: str
        key: str
        version: int
        at: _timestamp_pb2.Timestamp
        updated_by: str
        def __init__(self, position: _Optional[int] = ..., op: _Optional[_Union[WatchResponse.Op, str]] = ..., namespace: _Optional[str] = ..., key: _Optional[str] = ..., version: _Optional[int] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., updated_by: _Optional[str] = ...) -> None: ...
    class Missed(_message.Message):
        __slots__ = ("since", "oldest")
        SINCE_FIELD_NUMBER: _ClassVar[int]
        OLDEST_FIELD_NUMBER: _ClassVar[int]
        since: int
        oldest: int
        def __init__(self, since: _Optional[int] = ..., oldest: _Optional[int] = ...) -> None: ...
    class Heartbeat(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    READY_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    MISSED_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    ready: WatchResponse.Ready
    change: WatchResponse.Change
    missed: WatchResponse.Missed
    heartbeat: WatchResponse.Heartbeat
    def __init__(self, ready: _Optional[_Union[WatchResponse.Ready, _Mapping]] = ..., change: _Optional[_Union[WatchResponse.Change, _Mapping]] = ..., missed: _Optional[_Union[WatchResponse.Missed, _Mapping]] = ..., heartbeat: _Optional[_Union[WatchResponse.Heartbeat, _Mapping]] = ...) -> None: ...
