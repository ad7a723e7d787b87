"""Speed and memory as ratios in one process: `smca bench`."""
