"""The functions of sprig 3.3 as the reference wires them, and the ones step adds. One file a topic."""
