"""Every diagnostic code of the front end, in one table: title and explanation.

QASM2xx: form and names of a text, in both languages; QASM3xx: features, most of them of OpenQASM 3;
MESH1xx: bounds (100-109), service words (110-119) and warnings (150-159). Codes are stable for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Code(NamedTuple):
    """Title, one paragraph on what it means, and how to mend it when the place itself tells nothing better."""

    title: str
    explanation: str
    hint: str


CODES: Final[Mapping[str, Code]] = {
    "QASM200": Code("unexpected character", "A character that no token begins with; names are ASCII letters, digits, underscores and some Greek letters.", "remove it, or put it in a comment"),
    "QASM201": Code("unterminated comment or string", "A `/*` comment or a string has no end.", "close it"),
    "QASM202": Code("unexpected token", "Another token is needed at this place.", "look at what stands before it: a `;`, a `,` or a bracket may be missing"),
    "QASM203": Code("missing semicolon", "Every statement ends with `;`.", "end the statement with `;`"),
    "QASM204": Code("version missing", "The first statement is `OPENQASM 3.0;` or `OPENQASM 2.0;`.", "begin the text with `OPENQASM 3.0;`"),
    "QASM205": Code("version not supported", "OpenQASM 2.0, 3.0 and 3.1 are understood.", "write `OPENQASM 3.0;` or `OPENQASM 2.0;`"),
    "QASM206": Code("include forbidden", "Only `qelib1.inc` and `stdgates.inc` exist, as built-in tables; files are never read.", 'include "stdgates.inc" or "qelib1.inc", and copy other definitions into the text'),
    "QASM207": Code("unbalanced brace", "A block is not closed, or a `}` closes nothing.", "remove it"),
    "QASM208": Code("wrong language version", "The statement belongs to the other version of OpenQASM.", "begin with the version that has the statement"),
    "QASM209": Code("version line misplaced", "The version line comes first and once.", "remove this line, or move it to the top"),
    "QASM210": Code("undeclared name", "The name is used before it is declared, or never declared.", "declare it before it is used"),
    "QASM211": Code("redeclared name", "A name is declared once.", "choose another name"),
    "QASM212": Code("unknown gate", "The name is no gate of the catalogue, no service word and no gate of this text.", "define it with `gate`, or write it with catalogue gates"),
    "QASM213": Code("wrong number of qubits", "The gate takes another number of qubit operands.", "name as many qubits as the gate takes"),
    "QASM214": Code("wrong number of parameters", "The gate takes another number of parameters.", "write as many parameters as the gate takes"),
    "QASM215": Code("index out of range", "The register has fewer elements; negative indices count from its end.", "name an element that the register has"),
    "QASM216": Code("duplicate qubit", "The operands of one operation are different qubits.", "name different qubits"),
    "QASM217": Code("wrong kind of name", "A qubit stands where a bit is needed, or the other way round.", "name a register of the other kind"),
    "QASM218": Code("sizes differ", "Registers in one statement have the same size.", "name as many elements on both sides"),
    "QASM219": Code("no finite value", "An expression divides by zero, overflows, or leaves the domain of a function.", "write a value that is finite"),
    "QASM220": Code("not an integer", "An integer is needed here.", "write an integer, or a constant of type int"),
    "QASM221": Code("bad register size", "A register has at least one element.", "declare at least one element"),
    "QASM222": Code("`opaque` gates are not supported", "An `opaque` gate has no meaning that a simulator or a node could execute.", "define it with `gate`"),
    "QASM223": Code("not allowed in a gate body", "A gate body holds gate calls and barriers on its own qubits only.", "move it out of the body"),
    "QASM224": Code("keyword used as a name", "The word belongs to the language.", "choose another name"),
    "QASM225": Code("cannot be indexed", "A single qubit or bit has no elements.", "remove the index"),
    "QASM226": Code("condition not allowed in OpenQASM 2", "OpenQASM 2 has `if (register == integer) operation;` only.", "write `if (c == 1) x q[0];`, or begin the text with `OPENQASM 3.0;`"),
    "QASM300": Code("`while` is not supported", "Loops must be bounded; write the repetitions out.", "write the repetitions out"),
    "QASM301": Code("subroutines are not supported", "`def`, `return` and their relatives are refused; use `gate`.", "use `gate` for unitary parts"),
    "QASM302": Code("`extern` is not supported", "The mesh calls no foreign code.", "compute the value before submitting"),
    "QASM303": Code("calibrations are not supported", "`cal`, `defcal` and `defcalgrammar` describe pulses.", "remove the calibration"),
    "QASM304": Code("timing blocks are not supported", "`box`, `stretch`, `duration` and `durationof` are refused; `delay` is kept.", "use `barrier` and `delay`"),
    "QASM305": Code("modifier not applicable", "`ctrl @`, `negctrl @`, `inv @` and `pow(k) @` act on unitary gates, with at least one control.", "modify a unitary gate"),
    "QASM306": Code("loop not bounded", "A `for` runs over integers that are constant: a range, or a set of values.", "write `for int i in [0:3] { ... }`"),
    "QASM307": Code("bad alias", "`let` names elements of registers of one kind, each at most once, joined by `++`.", "name each element once"),
    "QASM308": Code("`pragma` is not supported", "A pragma could change the meaning of the text.", "remove the line"),
    "QASM309": Code("annotations are not supported", "An annotation could change the meaning of the next statement.", "remove the line"),
    "QASM310": Code("classical variables are not supported", "Classical variables besides bits, constants and inputs are refused.", "use `const`, or an `input` of type float or angle"),
    "QASM311": Code("`output` is not supported", "All bit registers are output.", "remove the word: all bit registers are output"),
    "QASM312": Code("classical assignment is not supported", "A bit is written by measurement only.", "write `c[0] = measure q[0];`"),
    "QASM313": Code("control statement not supported", "`switch`, `break`, `continue`, `end` and their relatives are refused.", "use `if` and `else`"),
    "QASM314": Code("measurement without target", "A result that nobody can read is refused; name a bit.", "write `c = measure q;`"),
    "QASM315": Code("input type not supported", "Inputs are `float` or `angle`.", "write `input float theta;`"),
    "QASM316": Code("condition not understood", "A condition compares bits or registers with integers, joined by `!`, `&&`, `||`.", "compare a bit or a register with an integer that it can hold"),
    "QASM317": Code("declaration inside a block", "Declarations stand at the top level.", "move it to the top level"),
    "QASM318": Code("physical qubits are not supported", "The planner chooses where a qubit lives; declare `qubit[n] q;`.", "declare `qubit[n] q;`"),
    "QASM319": Code("bad duration", "A delay is a number with one of the units ns, us, ms, s.", "write for example `delay[100ns] q;`"),
    "QASM320": Code("constant needed", "An input has no value yet where the text is understood.", "write a number, or a `const`"),
    "QASM321": Code("no such power", "A power that is no integer is known for one gate with known angles, and for a product on one qubit.", "write the power as gates, or use an integer exponent"),
    "MESH100": Code("text too large", "The text exceeds `text_bytes`.", "shorten the text, or raise `text_bytes` in the settings"),
    "MESH101": Code("too many operations", "The expanded circuit exceeds `operations`, or its gate definitions `gate_operations`.", "split the circuit, or raise the bound in the settings"),
    "MESH102": Code("too many qubits", "The registers together exceed `qubits`.", "declare fewer qubits, or raise `qubits` in the settings"),
    "MESH103": Code("too many classical bits", "The registers together exceed `bits`.", "declare fewer bits, or raise `bits` in the settings"),
    "MESH104": Code("nested too deeply", "Blocks, parentheses or modifiers exceed `nesting`.", "write it flatter, or raise `nesting` in the settings"),
    "MESH105": Code("name too long", "A name exceeds `identifier` characters.", "choose a shorter name"),
    "MESH106": Code("integer too long", "An integer exceeds `integer_digits` digits.", "write a smaller integer, or a float"),
    "MESH107": Code("expressions too large", "A symbolic expression exceeds `expression_tokens`, or all of them `expression_work`.", "simplify the expression, or write numbers"),
    "MESH108": Code("conditions too large", "A condition exceeds `condition_tokens`, or all of them `condition_reads`.", "simplify the condition"),
    "MESH109": Code("too many operands", "The operands of all operations together exceed `operands`.", "split the circuit, or raise `operands` in the settings"),
    "MESH110": Code("distillation of a data pair", "`distillation` takes one qubit and purifies the next pair delivered for it; entangled data cannot be distilled.", "write `distillation q[0];`"),
    "MESH111": Code("unknown distillation protocol", "The protocols are `bbpssw` (default) and `dejmps`.", "write `distillation(bbpssw)` or `distillation(dejmps)`"),
    "MESH112": Code("no code of this size", "`syndrome_extraction` takes 1, 3, 4, 7 or 9 qubits.", "name 1, 3, 4, 7 or 9 qubits"),
    "MESH113": Code("code and size differ", "The named code has another number of qubits.", "leave the name out: the number of qubits names the code"),
    "MESH114": Code("wrong number of syndrome bits", "The target has one bit for each check of the code.", "name one bit for each check"),
    "MESH115": Code("no qubits", "The text declares no qubit.", "declare `qubit[2] q;`"),
    "MESH116": Code("too many rounds of distillation", "At most 4 rounds precede one remote operation.", "remove a round"),
    "MESH117": Code("too many controls", "The modifiers of one gate ask for more than `controls` control qubits.", "use fewer controls, or raise `controls` in the settings"),
    "MESH118": Code("word cannot be conditioned", "`distillation` and `syndrome_extraction` happen in every shot.", "move it out of the `if`"),
    "MESH119": Code("too many iterations", "All loops together run more than `iterations` times, or read more than `loop_bytes` of text again.", "write fewer passes, or raise the bound in the settings"),
    "MESH120": Code("too much processor time", "Reading the text takes longer than `cpu_seconds`.", "split the circuit, or raise `cpu_seconds` in the settings"),
    "MESH150": Code("gate used without its include", "The mesh's own catalogue defines the gate; other tools may need an include.", 'include "stdgates.inc" or "qelib1.inc"'),
    "MESH151": Code("condition on a bit that is never written", "Such a bit is 0.", "measure into the bit before it is read"),
    "MESH152": Code("nothing is measured", "The counts will be empty of information.", "add `c = measure q;`"),
    "MESH153": Code("conditioned global phase", "It has no observable effect and makes no operation.", "remove it"),
    "MESH154": Code("pragma ignored", "The mesh knows no pragma; set `annotations` to `refuse` to be told by an error.", "remove the line"),
    "MESH155": Code("annotation ignored", "The mesh knows no annotation; set `annotations` to `refuse` to be told by an error.", "remove the line"),
    "MESH156": Code("nothing to execute", "The text has qubits, but no operation that a node could execute: a warning of `validate`, and refused as a job.", "add a gate or a measurement"),
}  # fmt: skip
"""Every code with its meaning."""
