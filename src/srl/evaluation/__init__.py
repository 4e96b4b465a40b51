"""Problems and an engine -> graded samples -> scores with intervals."""
