//! Each rule switched off must be seen to fail.
