"""Programs of other libraries as child processes that never outlive whoever asked for them."""
