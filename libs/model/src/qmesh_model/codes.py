"""Stable codes of circuit diagnostics, with titles; one table for parser, documentation and tests."""

from collections.abc import Mapping

TITLES: Mapping[str, str] = {
    # the text as OpenQASM
    "QASM201": "version line missing",
    "QASM202": "version not supported",
    "QASM203": "syntax",
    "QASM204": "unterminated string or comment",
    "QASM205": "illegal character",
    "QASM206": "include forbidden",
    "QASM207": "construct of another version",
    "QASM208": "construct not supported",
    # what the text means
    "QASM301": "undeclared name",
    "QASM302": "name declared twice",
    "QASM303": "index out of range",
    "QASM304": "wrong number of operands",
    "QASM305": "wrong number of parameters",
    "QASM306": "the same qubit twice",
    "QASM307": "unknown gate",
    "QASM308": "wrong kind of operand",
    "QASM309": "register sizes differ",
    "QASM310": "expression without a value",
    "QASM311": "condition not supported",
    # what the mesh asks
    "MESH101": "text too long",
    "MESH102": "too many operations",
    "MESH103": "too many qubits or bits",
    "MESH104": "nested too deeply",
    "MESH105": "name too long",
    "MESH106": "number too long",
    "MESH107": "expression too long",
    "MESH110": "service word used wrongly",
    "MESH111": "distillation of entangled data not supported",
    "MESH112": "no code of this size",
    "MESH113": "nothing to execute",
}
"""Title of every code."""
