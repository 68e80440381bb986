// Reads ticks with franz-go and hamba/avro, each as a line of JSON.
//
//	go run . -until-end
//	go run . -until-end -sums
//
// The second prints sums over all of them instead: readers are compared by these, and by their rates.
//
// Every field of the schema that may be null is a pointer: a plain int64 for a nullable long is an
// error, and a misspelt tag is silently the zero value. A field that a later version of the schema
// appends is passed over until the struct has it, and nil in records that lack it.
package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"math"
	"net/http"
	"os"
	"os/signal"
	"regexp"
	"time"

	"github.com/hamba/avro/v2"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

type OHLC struct {
	Open  float64 `avro:"open" json:"open"`
	High  float64 `avro:"high" json:"high"`
	Low   float64 `avro:"low" json:"low"`
	Close float64 `avro:"close" json:"close"`
}

type DepthItem struct {
	Quantity int64   `avro:"quantity" json:"quantity"`
	Price    float64 `avro:"price" json:"price"`
	Orders   int32   `avro:"orders" json:"orders"`
}

type Depth struct {
	Buy  []DepthItem `avro:"buy" json:"buy"`
	Sell []DepthItem `avro:"sell" json:"sell"`
}

type Tick struct {
	EventTime          time.Time  `avro:"event_time" json:"event_time"`
	ReceiveTimeUS      int64      `avro:"receive_time_us" json:"receive_time_us"`
	InstrumentToken    int64      `avro:"instrument_token" json:"instrument_token"`
	Exchange           string     `avro:"exchange" json:"exchange"`
	Tradingsymbol      *string    `avro:"tradingsymbol" json:"tradingsymbol"`
	Mode               string     `avro:"mode" json:"mode"`
	Tradable           bool       `avro:"tradable" json:"tradable"`
	LastPrice          float64    `avro:"last_price" json:"last_price"`
	LastTradedQuantity *int64     `avro:"last_traded_quantity" json:"last_traded_quantity"`
	AverageTradedPrice *float64   `avro:"average_traded_price" json:"average_traded_price"`
	VolumeTraded       *int64     `avro:"volume_traded" json:"volume_traded"`
	TotalBuyQuantity   *int64     `avro:"total_buy_quantity" json:"total_buy_quantity"`
	TotalSellQuantity  *int64     `avro:"total_sell_quantity" json:"total_sell_quantity"`
	OHLC               *OHLC      `avro:"ohlc" json:"ohlc"`
	LastTradeTime      *time.Time `avro:"last_trade_time" json:"last_trade_time"`
	ExchangeTimestamp  *time.Time `avro:"exchange_timestamp" json:"exchange_timestamp"`
	OI                 *int64     `avro:"oi" json:"oi"`
	OIDayHigh          *int64     `avro:"oi_day_high" json:"oi_day_high"`
	OIDayLow           *int64     `avro:"oi_day_low" json:"oi_day_low"`
	Depth              *Depth     `avro:"depth" json:"depth"`
	Slot               int32      `avro:"slot" json:"slot"`
	SessionID          int64      `avro:"session_id" json:"session_id"`
	Sequence           int64      `avro:"sequence" json:"sequence"`
	Snapshot           bool       `avro:"snapshot" json:"snapshot"`
	BestBidPrice       *float64   `avro:"best_bid_price" json:"best_bid_price"`
	BestBidQuantity    *int64     `avro:"best_bid_quantity" json:"best_bid_quantity"`
	BestAskPrice       *float64   `avro:"best_ask_price" json:"best_ask_price"`
	BestAskQuantity    *int64     `avro:"best_ask_quantity" json:"best_ask_quantity"`
}

// Sums are what readers are compared by; of prices in paise, so that the order does not matter.
type Sums struct {
	Ticks     int64 `json:"ticks"`
	Volume    int64 `json:"volume"`
	Paise     int64 `json:"paise"`
	NoVolume  int64 `json:"no_volume"`
	NoOHLC    int64 `json:"no_ohlc"`
	NoDepth   int64 `json:"no_depth"`
	NoBestBid int64 `json:"no_best_bid"`
	BidLevel1 int64 `json:"bid_level_1"`
}

func (s *Sums) add(tick *Tick) {
	s.Ticks++
	s.Paise += int64(math.Round(tick.LastPrice * 100))
	if tick.VolumeTraded != nil {
		s.Volume += *tick.VolumeTraded
	} else {
		s.NoVolume++
	}
	if tick.OHLC == nil {
		s.NoOHLC++
	}
	if tick.Depth != nil {
		s.BidLevel1 += tick.Depth.Buy[0].Quantity
	} else {
		s.NoDepth++
	}
	if tick.BestBidPrice == nil {
		s.NoBestBid++
	}
}

// Decoder reads Confluent's framing: a zero byte, four bytes of schema id, then Avro. Each id is
// asked for once.
type Decoder struct {
	registry string
	schemas  map[uint32]avro.Schema
}

// schemaNotFound is the registry's own code.
const schemaNotFound = 40403

// tickName is the name that every version of the schema has.
const tickName = "kite.Tick"

// errNoTick is of a value that the connector has not written: whoever may write can put it there.
var errNoTick = errors.New("no tick")

func (d *Decoder) Decode(value []byte) (Tick, error) {
	var tick Tick
	if len(value) < 5 || value[0] != 0 {
		return tick, fmt.Errorf("%w: not framed with a schema id", errNoTick)
	}
	id := binary.BigEndian.Uint32(value[1:5])
	schema, known := d.schemas[id]
	if !known {
		var err error
		if schema, err = d.ask(id); err != nil {
			return tick, err
		}
		d.schemas[id] = schema
	}
	if named, is := schema.(avro.NamedSchema); !is || named.FullName() != tickName {
		return tick, fmt.Errorf("%w: schema %d is that of another record", errNoTick, id)
	}
	if err := avro.Unmarshal(schema, value[5:], &tick); err != nil {
		return tick, fmt.Errorf("%w: %w", errNoTick, err)
	}
	return tick, nil
}

func (d *Decoder) ask(id uint32) (avro.Schema, error) {
	answer, err := http.Get(fmt.Sprintf("%s/schemas/ids/%d", d.registry, id))
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	var found struct {
		Schema    string `json:"schema"`
		ErrorCode int    `json:"error_code"`
	}
	err = json.NewDecoder(answer.Body).Decode(&found)
	// 404 alone is also what a wrong path of the address gets
	if err == nil && found.ErrorCode == schemaNotFound {
		return nil, fmt.Errorf("%w: the registry has no schema %d", errNoTick, id)
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the registry cannot say what schema %d is: %s", id, answer.Status)
	}
	if err != nil {
		return nil, err
	}
	// a cache of its own: two versions have one name, and the package's would mix them up
	schema, err := avro.ParseWithCache(found.Schema, "", &avro.SchemaCache{})
	if err != nil { // the registry keeps schemas of other formats too
		return nil, fmt.Errorf("%w: schema %d is no Avro schema: %w", errNoTick, id, err)
	}
	return schema, nil
}

func main() {
	servers := flag.String("bootstrap-servers", "localhost:9094", "")
	registry := flag.String("registry-url", "http://localhost:8081/apis/ccompat/v7", "")
	pattern := flag.String("topic-pattern", `^kite\.ticks\.`, "a regular expression")
	untilEnd := flag.Bool("until-end", false, "stop at what the topics hold now")
	summed := flag.Bool("sums", false, "print sums over all ticks, not the ticks")
	flag.Parse()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(*servers),
		kgo.ConsumeRegex(),
		kgo.ConsumeTopics(*pattern),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		// what was aborted is in no tick's topic; in others it would be handed out
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	missing := int64(-1)
	if *untilEnd {
		if missing, err = records(ctx, client, *pattern); err != nil {
			log.Fatal(err)
		}
	}
	decoder := Decoder{*registry, map[uint32]avro.Schema{}}
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	lines := json.NewEncoder(out)
	var sums Sums
	for missing != 0 && ctx.Err() == nil {
		fetches := client.PollFetches(ctx)
		fetches.EachError(func(topic string, partition int32, err error) {
			if !errors.Is(err, context.Canceled) {
				log.Fatalf("%s %d: %v", topic, partition, err)
			}
		})
		fetches.EachRecord(func(record *kgo.Record) {
			missing--
			tick, err := decoder.Decode(record.Value)
			if errors.Is(err, errNoTick) {
				log.Printf("passed over: %s %d %d: %v", record.Topic, record.Partition, record.Offset, err)
				return
			}
			if err != nil {
				log.Fatalf("%s %d %d: %v", record.Topic, record.Partition, record.Offset, err)
			}
			if *summed {
				sums.add(&tick)
			} else if err := lines.Encode(tick); err != nil {
				log.Fatal(err)
			}
		})
	}
	if *summed {
		if err := lines.Encode(sums); err != nil {
			log.Fatal(err)
		}
	}
}

// records counts what the matching topics hold.
func records(ctx context.Context, client *kgo.Client, pattern string) (int64, error) {
	admin := kadm.NewClient(client)
	topics, err := admin.ListTopics(ctx)
	if err != nil {
		return 0, err
	}
	names := matching(topics.Names(), pattern)
	starts, err := admin.ListStartOffsets(ctx, names...)
	if err != nil {
		return 0, err
	}
	ends, err := admin.ListCommittedOffsets(ctx, names...)
	if err != nil {
		return 0, err
	}
	count := int64(0)
	ends.Each(func(end kadm.ListedOffset) {
		start, _ := starts.Lookup(end.Topic, end.Partition)
		count += end.Offset - start.Offset
	})
	return count, nil
}

// matching are the names that a pattern matches.
func matching(names []string, pattern string) []string {
	expression := regexp.MustCompile(pattern)
	found := []string{}
	for _, name := range names {
		if expression.MatchString(name) {
			found = append(found, name)
		}
	}
	return found
}
