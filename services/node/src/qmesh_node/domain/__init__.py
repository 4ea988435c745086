"""Pure execution: ensembles, kernels, draws, readout, stored versions."""
