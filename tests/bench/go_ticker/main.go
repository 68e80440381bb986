// Kite's own ticker for Go as a user has it: the age of each frame when its last tick is given out.
//
// Arguments: the feed's address, instruments of each socket, ticks to wait for, packets a frame.
// Prints one line of JSON.
package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/zerodha/gokiteconnect/v4/models"
	kiteticker "github.com/zerodha/gokiteconnect/v4/ticker"
)

const slots = 3

// patience is for the next tick: then the feed has ended, and the rest is lost.
const patience = 10 * time.Second

// cpuSeconds is of all threads.
func cpuSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}

func number(at int) int {
	value, err := strconv.Atoi(os.Args[at])
	if err != nil {
		panic(err)
	}
	return value
}

func main() {
	root, err := url.Parse(os.Args[1])
	if err != nil {
		panic(err)
	}
	instruments, expected, packets := number(2), int64(number(3)), number(4)

	var received atomic.Int64
	var cpuFrom atomic.Uint64 // the nanoseconds spent when the first tick came
	ages := make([][]uint32, slots)
	for slot := range slots {
		tokens := make([]uint32, instruments)
		for i := range tokens {
			tokens[i] = uint32(1000+slot*3000+i)<<8 | 1
		}
		ages[slot] = make([]uint32, 0, int(expected)/packets)
		ticks, sent := 0, uint32(0)
		ticker := kiteticker.New("bench", fmt.Sprintf("token%d", slot))
		ticker.SetRootURL(*root)
		ticker.OnConnect(func() {
			if ticker.Subscribe(tokens) != nil || ticker.SetMode(kiteticker.ModeFull, tokens) != nil {
				panic("cannot subscribe")
			}
		})
		ticker.OnTick(func(tick models.Tick) {
			if received.Load() == 0 {
				cpuFrom.CompareAndSwap(0, uint64(cpuSeconds()*1e9))
			}
			if ticks%packets == 0 {
				sent = tick.VolumeTraded // feed.py puts it into the first packet of a frame
			}
			ticks++
			if ticks%packets == 0 {
				ages[slot] = append(ages[slot], uint32(time.Now().UnixMicro())-sent)
			}
			received.Add(1)
		})
		go ticker.Serve()
	}

	before, since := int64(0), time.Now()
	for received.Load() < expected && (before == 0 || time.Since(since) < patience) {
		time.Sleep(10 * time.Millisecond)
		if now := received.Load(); now != before {
			before, since = now, time.Now()
		}
	}
	spent := cpuSeconds() - float64(cpuFrom.Load())/1e9
	all := slices.Concat(ages...)
	slices.Sort(all)
	line, err := json.Marshal(map[string]any{
		"received": received.Load(), "lost": expected - received.Load(), "cpu_seconds": spent, "ages_us": all,
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}
