"""Images stores: read, written, checked, grown, and where faces lie in them."""
