"""The Scoring dock: figures per class, the places and slices behind them, and scores that follow the brush."""
