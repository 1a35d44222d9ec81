//! Actions: commands to devices, signed, expiring, tracked until confirmed.
