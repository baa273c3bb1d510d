<?php
// smsd from PHP: send, cancel, read events. phpredis 6. Usage and rules: README.md beside this file.
$at = parse_url(getenv('REDIS_URL') ?: 'redis://127.0.0.1:8777/0');
$redis = new Redis();
$redis->connect($at['host'], $at['port'] ?? 6379, 5.0);

function shards(Redis $redis): int {
    return (int) ($redis->hGet('smsd:meta', 'shards') ?: 1);
}

function write(Redis $redis, string $tenant, array $fields): void {
    $shard = crc32($tenant) % shards($redis);  // unsigned on 64-bit PHP
    // Single quotes: in double ones PHP would take {$…} for its own and the braces would be lost.
    if ($redis->xAdd('smsd:{' . $shard . '}:in:reminder', '*', $fields) === false) {
        throw new RuntimeException($redis->getLastError());
    }
}

// With the same fields it may be written again whenever you are not sure: it is taken once.
function send(Redis $redis, string $tenant, string $id, string $to, string $body, string $not_after_ms): void {
    write($redis, $tenant, [
        'tenant' => $tenant, 'id' => $id, 'to' => $to, 'body' => $body,
        'not_after' => $not_after_ms,
        'meta' => json_encode(['appointment' => 17]),
    ]);
}

function cancel(Redis $redis, string $tenant, string $id): void {
    write($redis, $tenant, ['op' => 'cancel', 'tenant' => $tenant, 'id' => $id]);
}

// $handle makes your own write, which must ignore an event_id that it has already.
function read_events(Redis $redis, string $group, string $consumer, callable $handle): void {
    $streams = [];
    for ($shard = 0; $shard < shards($redis); $shard++) {
        $stream = 'smsd:{' . $shard . '}:events';
        $redis->xGroup('CREATE', $stream, $group, '0', true);  // false when it is there already
        $streams[$stream] = '>';
    }
    $take = function (string $stream, array $entries) use ($redis, $group, $handle): void {
        foreach ($entries as $entry => $event) {
            if ($event) {
                $handle($event);
            }
            $redis->xAck($stream, $group, [$entry]);
        }
    };
    while (true) {
        foreach (array_keys($streams) as $stream) {  // what a dead reader left for a minute
            $claimed = $redis->xAutoClaim($stream, $group, $consumer, 60000, '0-0', 100);
            $take($stream, $claimed[1] ?? []);
        }
        foreach ($redis->xReadGroup($group, $consumer, $streams, 100, 2000) ?: [] as $stream => $entries) {
            $take($stream, $entries);
        }
    }
}

[, $what, $tenant, $id, $not_after_ms] = $argv + [null, '', '', '', ''];
if ($what === 'send') {
    send($redis, $tenant, $id, '+353861234567', 'See you at 10:00', $not_after_ms);
} elseif ($what === 'cancel') {
    cancel($redis, $tenant, $id);
} elseif ($what === 'read') {
    $seen = [];  // in your system: a unique index on event_id
    read_events($redis, $tenant, 'reader-1', function (array $event) use (&$seen): void {
        if (!isset($seen[$event['event_id']])) {
            $seen[$event['event_id']] = true;
            echo "{$event['tenant']} {$event['id']} {$event['state']} ", $event['meta'] ?? '', "\n";
        }
    });
}
