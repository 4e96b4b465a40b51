from run_folder import new_run, run_dir

__all__ = ["new_run", "run_dir"]
