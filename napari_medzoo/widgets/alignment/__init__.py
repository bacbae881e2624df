"""How one scan lies on another: shown, measured, corrected by hand, and handed to the panel."""
