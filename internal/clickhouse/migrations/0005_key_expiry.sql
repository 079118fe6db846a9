-- Keys may end by themselves; the start of 1970 means never.
ALTER TABLE api_keys ADD COLUMN IF NOT EXISTS expires DateTime64(3, 'UTC') DEFAULT toDateTime64(0, 3, 'UTC') AFTER created;
