"""The bookstore's own tools: running it, generating its protobuf code."""

import os

# The supervisor speaks gRPC while it starts processes, and gRPC's fork handlers abort a child now and then. A child
# that does nothing but exec needs none. Read by gRPC when it is first imported, so it has to stand here.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
