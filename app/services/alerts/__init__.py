"""Tells the operator, outside the customers' groups, what is wrong and when it is well again."""
