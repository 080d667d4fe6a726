"""The files beside a program: `.env`, `understudy.toml`, a lock, and the code in its working folder.

Enter by `reading.find_file` and `read_file` for what may be read at all, `env_file.read_env_file` and
`config_file.read_tables` for what is in it, and `working_folder.keep_out` for modules that must not come from
there.

May import: errors, limits, masking, target.
"""
