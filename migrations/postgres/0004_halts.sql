-- So that every instance knows of a partition that one of them has halted.

alter table progress add column halted text;   -- log_gap, log_regression; null: it is recorded
