"""Pictures and pages of what a model found, where it looked and how it learned."""
