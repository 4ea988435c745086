"""Why an analysis, or one field of it, is not there."""


class AnalysisError(Exception):
    """A typed failure of the analysis; the execution is not affected.

    INVALID_ARGUMENT refuses the whole request; any other code is the reason why a field is null.
    """

    def __init__(self, code: str, message: str) -> None:
        """Takes a stable code and a sentence."""
        super().__init__(message)
        self.code = code
        self.message = message
