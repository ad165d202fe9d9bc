-- Replaces the document that says which policies a cell uses, if it still is what the writer saw.
-- KEYS  policy
-- ARGV  serial_before serial_after document
-- REPLY ok | changed
local serial = redis.call('HGET', KEYS[1], 'serial') or ''
if serial == ARGV[2] then return {'ok'} end
if serial ~= ARGV[1] then return {'changed'} end
redis.call('HSET', KEYS[1], 'serial', ARGV[2], 'document', ARGV[3])
return {'ok'}
