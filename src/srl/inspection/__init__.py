"""``srl inspect``: one trajectory or step example as the model will see it, or a page of lengths of a whole file."""
