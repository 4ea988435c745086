"""Names of the mesh's protocols and topics."""

GATE = "/qmesh/gate/1.0.0"
STATE = "/qmesh/state/1.0.0"
OVERLAP = "/qmesh/overlap/1.0.0"
ENROLL = "/qmesh/enroll/1.0.0"
CONTROL = "/qmesh/control/1.0.0"
ADVERTS = "qmesh/adverts/v1"

DESCRIPTIONS = {
    GATE: ("gate", "a runtime asks a node to execute a block"),
    STATE: ("state", "immutable versions of components move between peers"),
    OVERLAP: ("overlap", "a runtime compares a version with an ideal state, at its holder"),
    ENROLL: ("enroll", "a peer proves its key and asks to be admitted"),
    CONTROL: ("control", "directory, probes, trust and drain, from registry to node"),
}
