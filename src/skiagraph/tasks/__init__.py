"""What people come for: each task joins the calculus, physics, networks and data."""
