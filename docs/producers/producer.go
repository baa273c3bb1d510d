// smsd from Go: send, cancel, read events. go-redis v9. Usage and rules: README.md beside this file.
package main

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"log"
	"os"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

var ctx = context.Background()

func shards(db *redis.Client) (uint32, error) {
	number, err := db.HGet(ctx, "smsd:meta", "shards").Uint64()
	if errors.Is(err, redis.Nil) {
		return 1, nil
	}
	return uint32(number), err
}

func write(db *redis.Client, tenant string, fields []string) error {
	number, err := shards(db)
	if err != nil {
		return err
	}
	stream := fmt.Sprintf("smsd:{%d}:in:reminder", crc32.ChecksumIEEE([]byte(tenant))%number)
	return db.XAdd(ctx, &redis.XAddArgs{Stream: stream, Values: fields}).Err()
}

// With the same fields it may be written again whenever you are not sure: it is taken once.
func send(db *redis.Client, tenant, id, to, body, notAfterMs string) error {
	return write(db, tenant, []string{
		"tenant", tenant, "id", id, "to", to, "body", body,
		"not_after", notAfterMs, "meta", `{"appointment":17}`,
	})
}

func cancel(db *redis.Client, tenant, id string) error {
	return write(db, tenant, []string{"op", "cancel", "tenant", tenant, "id", id})
}

// handle makes your own write, which must ignore an event_id that it has already.
func read(db *redis.Client, group, consumer string, handle func(map[string]any) error) error {
	number, err := shards(db)
	if err != nil {
		return err
	}
	var streams, after []string
	for shard := uint32(0); shard < number; shard++ {
		stream := fmt.Sprintf("smsd:{%d}:events", shard)
		err := db.XGroupCreateMkStream(ctx, stream, group, "0").Err()
		if err != nil && !strings.HasPrefix(err.Error(), "BUSYGROUP") {
			return err
		}
		streams, after = append(streams, stream), append(after, ">")
	}
	take := func(stream string, entries []redis.XMessage) error {
		for _, entry := range entries {
			if len(entry.Values) > 0 {
				if err := handle(entry.Values); err != nil {
					return err
				}
			}
			if err := db.XAck(ctx, stream, group, entry.ID).Err(); err != nil {
				return err
			}
		}
		return nil
	}
	for {
		for _, stream := range streams { // what a dead reader left for a minute
			claimed, _, err := db.XAutoClaim(ctx, &redis.XAutoClaimArgs{
				Stream: stream, Group: group, Consumer: consumer, MinIdle: time.Minute, Start: "0-0", Count: 100,
			}).Result()
			if err != nil {
				return err
			}
			if err := take(stream, claimed); err != nil {
				return err
			}
		}
		fresh, err := db.XReadGroup(ctx, &redis.XReadGroupArgs{
			Group: group, Consumer: consumer, Streams: append(append([]string{}, streams...), after...),
			Count: 100, Block: 2 * time.Second,
		}).Result()
		if err != nil && !errors.Is(err, redis.Nil) { // Nil: nothing new
			return err
		}
		for _, one := range fresh {
			if err := take(one.Stream, one.Messages); err != nil {
				return err
			}
		}
	}
}

func main() {
	url := os.Getenv("REDIS_URL")
	if url == "" {
		url = "redis://127.0.0.1:8777/0"
	}
	options, err := redis.ParseURL(url)
	if err != nil {
		log.Fatal(err)
	}
	db := redis.NewClient(options)
	args := append(os.Args[1:], "", "", "", "")
	switch args[0] {
	case "send":
		err = send(db, args[1], args[2], "+353861234567", "See you at 10:00", args[3])
	case "cancel":
		err = cancel(db, args[1], args[2])
	case "read":
		seen := map[any]bool{} // in your system: a unique index on event_id
		err = read(db, args[1], "reader-1", func(event map[string]any) error {
			if !seen[event["event_id"]] {
				seen[event["event_id"]] = true
				meta, _ := event["meta"].(string)
				fmt.Println(event["tenant"], event["id"], event["state"], meta)
			}
			return nil
		})
	}
	if err != nil {
		log.Fatal(err)
	}
}
