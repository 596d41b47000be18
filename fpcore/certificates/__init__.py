"""Certified robustness of the two-layer network: lower bounds, against any perturbation."""

from fpcore.certificates.certificate import (
    BRANCHES,
    Certificate,
    certified_accuracy,
    certified_radius,
    certify,
)
from fpcore.certificates.quadratic_relaxation import shared_budget

__all__ = [
    "BRANCHES",
    "Certificate",
    "certified_accuracy",
    "certified_radius",
    "certify",
    "shared_budget",
]
