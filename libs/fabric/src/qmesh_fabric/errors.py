"""What can go wrong between peers."""


class FabricError(Exception):
    """A typed refusal or failure between peers.

    Args:
        code: stable machine code.
        message: sentence for people.
    """

    def __init__(self, code: str, message: str) -> None:
        """Takes code and sentence."""
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class RemoteError(FabricError):
    """The other peer answered with a typed error."""


class PeerGone(ConnectionError):  # noqa: N818 - the name of the fact
    """The peer cannot be reached, or went away during the call."""


class ChannelBusy(Exception):  # noqa: N818 - the name of the fact
    """Too many calls wait on this stream."""


class ListenError(Exception):
    """An address cannot be listened on; says which and why."""


class GuardError(ImportError):
    """The library is not the one that the guard was written for."""


def first_of(error: BaseException) -> BaseException:
    """The first error that is no group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
