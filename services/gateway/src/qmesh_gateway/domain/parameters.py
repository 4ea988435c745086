"""Values of a circuit's inputs, checked when they come in: all there, and every expression finite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qmesh_gateway.domain.problems import ProblemError
from qmesh_model.circuit import Circuit
from qmesh_model.parameters import Expression, ParameterError


def check_values(form: Circuit, sets: Sequence[Mapping[str, float]], most_steps: int) -> None:
    """Checks parameter sets against a circuit.

    Args:
        form: the circuit.
        sets: values of its inputs by name, one mapping for each execution.
        most_steps: steps of expressions that may be evaluated for all sets together.

    Raises:
        ProblemError: 422 when a value is missing, unknown, or gives no finite number; 413 above `most_steps`.
    """
    wanted = set(form.symbols)
    if wanted and not sets:
        names = ", ".join(sorted(wanted))
        raise ProblemError(
            422, "PARAMETERS_MISSING", f"the circuit has parameters without values: {names[:400]}"
        )
    for number, values in enumerate(sets):
        if set(values) != wanted:
            odd = ", ".join(sorted(set(values) ^ wanted))
            detail = f"parameter set {number} and the circuit differ in: {odd[:400]}"
            raise ProblemError(422, "PARAMETERS_MISMATCH", detail)
    _check_finite(form, sets, most_steps)


def _check_finite(form: Circuit, sets: Sequence[Mapping[str, float]], most_steps: int) -> None:
    lines = {
        parameter: operation.span.line
        for operation in reversed(form.operations)
        for parameter in operation.parameters
        if isinstance(parameter, Expression)
    }
    if isinstance(form.global_phase, Expression):
        lines.setdefault(form.global_phase, 0)
    if sum(len(expression.tokens) for expression in lines) * len(sets) > most_steps:
        raise ProblemError(
            413,
            "PARAMETERS_TOO_LARGE",
            f"the parameter sets ask for more than {most_steps} steps of expressions (`expression_work`); send fewer sets at once",
        )
    for number, values in enumerate(sets):
        for expression, line in lines.items():
            try:
                expression.evaluate(values)
            except ParameterError as error:
                where = f"line {line}" if line else "the global phase"
                raise ProblemError(
                    422, "PARAMETERS_INVALID", f"parameter set {number}, {where}: {error}"
                ) from None
