"""Pure analysis: ideal states, fields, comparison with executed rows."""
