"""What a run needs: rules for parameters, processes, kept rows, where numbers come from."""
