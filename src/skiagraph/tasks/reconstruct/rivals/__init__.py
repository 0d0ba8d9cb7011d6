"""Every other way to reconstruct a scan, behind one interface, and the table that compares them."""
