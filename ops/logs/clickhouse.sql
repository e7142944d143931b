CREATE TABLE IF NOT EXISTS sussurro (
    line String,
    time String MATERIALIZED visitParamExtractString(line, 'time'),
    level String MATERIALIZED visitParamExtractString(line, 'level'),
    event String MATERIALIZED visitParamExtractString(line, 'event'),
    request_id String MATERIALIZED visitParamExtractString(line, 'request_id'),
    key_id String MATERIALIZED visitParamExtractString(line, 'key_id'),
    route String MATERIALIZED visitParamExtractString(line, 'route'),
    status UInt16 MATERIALIZED toUInt16(visitParamExtractUInt(line, 'status')),
    audio_s Float64 MATERIALIZED visitParamExtractFloat(line, 'audio_s'),
    total_s Float64 MATERIALIZED visitParamExtractFloat(line, 'total_s')
) ENGINE = ReplacingMergeTree ORDER BY (time, event, request_id, cityHash64(line))
