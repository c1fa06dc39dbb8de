"""A heated plate whose temperature is known: the Poisson equation on the unit square.

    -(u_xx + u_yy) = f    inside,    u = 0    on the boundary

The heating f is chosen such that u(x, y) = p(x) p(y) with p(t) = sin(pi t) exp(-((t-1/2)/w)^2):
a hot spot of width w, and a temperature of exactly 1 in the centre, whatever the width.
"""

import numpy as np


def temperature(x, width):
    """The solution u on the grid of all pairs of the coordinates x."""
    p = _profile(x, width)
    return np.outer(p, p)


def heating(x, width):
    """The right-hand side f on the same grid."""
    p, curvature = _profile(x, width), _curvature(x, width)
    return -(np.outer(curvature, p) + np.outer(p, curvature))


def _profile(t, width):
    return np.sin(np.pi * t) * np.exp(-(((t - 0.5) / width) ** 2))


def _curvature(t, width):
    """The second derivative of the profile."""
    sine, cosine = np.sin(np.pi * t), np.cos(np.pi * t)
    slope = -2 * (t - 0.5) / width**2
    factor = (slope**2 - np.pi**2 - 2 / width**2) * sine + 2 * np.pi * slope * cosine
    return factor * np.exp(-(((t - 0.5) / width) ** 2))
