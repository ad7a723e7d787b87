"""Every system of the paper's comparison tables, trained by one trainer on one clock: `smca compare`."""
