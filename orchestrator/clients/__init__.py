"""The ports over gRPC. Protobuf stops here.

Channels live on the event loop of a `BlockingRuntime`; these classes are called from the threads of requests.
"""
