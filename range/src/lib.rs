//! The exercise range: simulated estates and scripted attacks.
