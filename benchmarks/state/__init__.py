"""How much of a component's state is lost when its host dies: real processes, SIGKILL, a real broker."""
