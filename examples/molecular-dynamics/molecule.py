"""What the stand-ins share: where the files of a system lie, and a toy in place of physics.

A system is one particle in a double well. It is coupled to a heat bath by Langevin's equation,
so that its energies scatter as those of a simulation do; the same seed gives the same path.
"""

import json
import math
import random
from pathlib import Path

STIFFNESS = 4.0
TIME_STEP = 0.01
FRICTION = 1.0


def system_dir(run):
    """The directory of the system that a run is for."""
    return Path(run.system_dir)


def read(path):
    """A file of JSON."""
    return json.loads(path.read_text())


def write(path, **content):
    """Write a file of JSON in one step, so that nobody sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".new")
    aside.write_text(json.dumps(content, indent=1) + "\n")
    aside.replace(path)


def energy(x, well, strength):
    """Potential energy: two wells at -1 and 1, one of them deeper."""
    return STIFFNESS * (x * x - 1) ** 2 + strength * well * x


def force(x, well, strength):
    """Minus its derivative."""
    return -4 * STIFFNESS * x * (x * x - 1) - strength * well


def simulate(state, n_steps, seed, well, strength=1.0, temperature=1.0):
    """Go on from a state (position, velocity); the state after that, and all positions."""
    dice = random.Random(seed)
    x, v = state["x"], state["v"]
    kick = math.sqrt(2 * FRICTION * temperature * TIME_STEP)
    positions = []
    for _ in range(n_steps):
        v += TIME_STEP * (force(x, well, strength) - FRICTION * v) + kick * dice.gauss(0, 1)
        x += TIME_STEP * v
        if abs(x) > 5:
            raise RuntimeError(f"the particle has left the box: x = {x:.2f}")
        positions.append(x)
    return {"x": x, "v": v}, positions


def mean(values):
    """The mean."""
    return sum(values) / len(values)
