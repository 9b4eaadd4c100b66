"""What a call to etcd can end with. The whole tree."""


class EtcdError(Exception):
    """Any of these."""


class EtcdUnavailableError(EtcdError):
    """No member has answered in time. What was asked for may have happened, or may yet happen."""


class EtcdRefusedError(EtcdError):
    """A member has answered that it will not, for example for want of space."""
