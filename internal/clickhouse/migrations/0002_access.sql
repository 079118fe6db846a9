-- Advertisers that have more than the defaults (time zone UTC, the id as name).
CREATE TABLE IF NOT EXISTS accounts
(
    advertiser UInt64,
    name       String,
    currency   String,
    timezone   String,
    version    UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY advertiser;

-- API keys. The secret is stored as its SHA-256 only.
CREATE TABLE IF NOT EXISTS api_keys
(
    key_id          String,
    secret_sha256   String,
    name            String,
    scopes          Array(String),
    all_advertisers Bool,
    advertisers     Array(UInt64),
    created         DateTime64(3, 'UTC'),
    revoked         Bool,
    version         UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY key_id;
