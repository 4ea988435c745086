"""Decay of the memories in which wires wait, before an operation.

Wires of an ensemble follow trajectories of amplitude damping and phase flips; those of a stabilizer state the Pauli twirl of both.
"""

from __future__ import annotations

import numpy as np

from qmesh.fabric.v1 import gate_pb2 as gate
from qmesh_model.pairs import Decay
from qmesh_model.randomness import Purpose
from qmesh_node.domain.components import Components
from qmesh_node.domain.noise import letters_of
from qmesh_node.domain.randomness import Draws
from qmesh_node.domain.tally import FragmentTally

_Z = 3
_NANO = 1e-9


def let_decay(
    components: Components, draws: Draws, operation: gate.NodeOperation, tally: FragmentTally
) -> None:
    """Lets the wires of an operation decay for as long as they have waited.

    The draws of operand k are 2 k (relaxation, or the twirled error) and 2 k + 1 (phase flip).
    """
    times = zip(operation.wires, operation.idle_ns, operation.t1_seconds, operation.t2_seconds, strict=True)
    for operand, (wire, waited, t1, t2) in enumerate(times):
        decay = Decay.after(waited * _NANO, t1, t2)
        if not decay.damping and not decay.dephasing:
            continue
        uniforms = draws.uniforms(operation.index, Purpose.IDLE_DECAY, 2 * operand)
        if components.is_stabilizer(wire):
            letters = letters_of(uniforms, decay.twirled())
            components.apply_pauli(wire, letters)
            tally.note_idle(letters != 0)
            tally.detail["idle"] = "twirled"
            continue
        if decay.damping:
            tally.note_idle(components.relax(wire, decay.damping, uniforms))
        if decay.dephasing:
            flips = draws.uniforms(operation.index, Purpose.IDLE_DECAY, 2 * operand + 1) < decay.dephasing
            components.apply_pauli(wire, np.where(flips, _Z, 0))
            tally.note_idle(flips)
        tally.detail["idle"] = "trajectories"
