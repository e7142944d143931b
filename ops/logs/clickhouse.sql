CREATE TABLE IF NOT EXISTS sussurro (
    line String,
    time String MATERIALIZED extract(line, '"time": ?"([^"]*)"'),
    level String MATERIALIZED extract(line, '"level": ?"([^"]*)"'),
    event String MATERIALIZED extract(line, '"event": ?"([^"]*)"'),
    request_id String MATERIALIZED extract(line, '"request_id": ?"([^"]*)"'),
    key_id String MATERIALIZED extract(line, '"key_id": ?"([^"]*)"'),
    route String MATERIALIZED extract(line, '"route": ?"([^"]*)"'),
    status UInt16 MATERIALIZED toUInt16OrZero(extract(line, '"status": ?([0-9]+)')),
    audio_s Float64 MATERIALIZED toFloat64OrZero(extract(line, '"audio_s": ?([0-9.]+)')),
    total_s Float64 MATERIALIZED toFloat64OrZero(extract(line, '"total_s": ?([0-9.]+)'))
) ENGINE = ReplacingMergeTree ORDER BY (time, event, request_id, cityHash64(line))
