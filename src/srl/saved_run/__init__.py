"""Run folder -> plain records, whatever the files hold; what ``srl diagnose`` and ``srl report`` are made from."""
