"""Train, accumulate and solve: on the one driver, and what plans and checks them before."""
