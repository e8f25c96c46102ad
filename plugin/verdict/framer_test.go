package verdict

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// slowCluster is a framer's other side: each frame takes as long as it says.
type slowCluster struct {
	framer *framer
	sizes  chan int
	known  map[string]*verdict
}

func newSlowCluster(size int, wait time.Duration, limit int, takes time.Duration) *slowCluster {
	c := &slowCluster{sizes: make(chan int, 1000)}
	c.framer = newFramer(size, wait, limit, func(flights []*flight) {
		c.sizes <- len(flights)
		time.Sleep(takes)
		for _, fl := range flights {
			fl.verdict = named(fl.name, 1, 300)
		}
	}, func(name string) *verdict { return c.known[name] })
	return c
}

func (c *slowCluster) sent() (sizes []int) {
	for {
		select {
		case n := <-c.sizes:
			sizes = append(sizes, n)
		default:
			return sizes
		}
	}
}

func TestAFrameLeavesAtOnceWhenNothingIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSlowCluster(256, 5*time.Millisecond, 8, 20*time.Millisecond)
		defer c.framer.close()
		began := time.Now()
		fl, _, _ := c.framer.ask("example.org")
		<-fl.done
		if took := time.Since(began); took != 20*time.Millisecond || fl.verdict == nil {
			t.Errorf("verdict %v after %s, expected one after the cluster's 20 ms", fl.verdict, took)
		}
	})
}

func TestAFrameFillsForTheWaitWhileOthersFly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSlowCluster(256, 5*time.Millisecond, 8, 20*time.Millisecond)
		defer c.framer.close()
		c.framer.ask("first.example.org")
		synctest.Wait()
		for i := range 10 {
			c.framer.ask(fmt.Sprintf("n%d.example.org", i))
		}
		synctest.Wait()
		if got := c.sent(); fmt.Sprint(got) != "[1]" {
			t.Errorf("frames %v before the wait is over, expected [1]", got)
		}
		time.Sleep(5*time.Millisecond + 1)
		synctest.Wait()
		if got := c.sent(); fmt.Sprint(got) != "[10]" {
			t.Errorf("frames %v after the wait, expected [10]", got)
		}
	})
}

func TestWhatHasGatheredLeavesWhenTheLastFrameLands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSlowCluster(256, time.Second, 8, 20*time.Millisecond)
		defer c.framer.close()
		c.framer.ask("first.example.org")
		synctest.Wait()
		fl, _, _ := c.framer.ask("second.example.org")
		<-fl.done
		if got := c.sent(); fmt.Sprint(got) != "[1 1]" {
			t.Errorf("frames %v, expected [1 1]", got)
		}
	})
}

func TestAFullFrameLeavesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSlowCluster(4, time.Second, 8, 20*time.Millisecond)
		defer c.framer.close()
		for i := range 9 {
			c.framer.ask(fmt.Sprintf("n%d.example.org", i))
		}
		synctest.Wait()
		if got := c.sent(); slices.Max(got) != 4 || len(got) != 3 {
			t.Errorf("frames %v, expected one of 1 and two of 4", got)
		}
	})
}

func TestFramesInFlightAreBoundedAndBeyondIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSlowCluster(2, 0, 3, time.Second)
		defer c.framer.close()
		busy := 0
		for i := range 20 {
			if _, _, why := c.framer.ask(fmt.Sprintf("n%d.example.org", i)); why == reasonBusy {
				busy++
			}
		}
		synctest.Wait()
		if got := c.sent(); len(got) != 3 {
			t.Errorf("frames %v, expected three in flight", got)
		}
		if busy != 20-3-2 { // three frames of one name (no wait), one frame of two filling
			t.Errorf("%d busy, expected 15", busy)
		}
	})
}

func TestEqualNamesInFlightAreOneQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSlowCluster(256, 5*time.Millisecond, 8, 20*time.Millisecond)
		defer c.framer.close()
		var answered atomic.Int32
		for range 1000 {
			go func() {
				fl, _, _ := c.framer.ask("example.org")
				<-fl.done
				answered.Add(1)
			}()
		}
		synctest.Wait()
		time.Sleep(time.Second)
		synctest.Wait()
		if got := c.sent(); fmt.Sprint(got) != "[1]" || answered.Load() != 1000 {
			t.Errorf("frames %v and %d answered, expected one name and 1000", got, answered.Load())
		}
	})
}

func TestAVerdictThatCameMeanwhileIsNotAskedFor(t *testing.T) {
	c := newSlowCluster(256, 0, 8, 0)
	defer c.framer.close()
	c.known = map[string]*verdict{"example.org": named("example.org", 1, 300)}
	if fl, v, why := c.framer.ask("example.org"); fl != nil || v == nil || why != reasonNone {
		t.Errorf("got %v, %v, %v", fl, v, why)
	}
}

func TestCloseFailsWhatHasNotLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newSlowCluster(256, time.Minute, 8, time.Second)
		first, _, _ := c.framer.ask("first.example.org")
		synctest.Wait()
		second, _, _ := c.framer.ask("second.example.org")
		c.framer.close()
		<-second.done
		if second.reason != reasonShutdown {
			t.Errorf("reason %v, expected shutdown", second.reason)
		}
		<-first.done
		if first.verdict == nil {
			t.Error("the frame in flight did not land")
		}
		if _, _, why := c.framer.ask("third.example.org"); why != reasonShutdown {
			t.Errorf("reason %v after close, expected shutdown", why)
		}
	})
}
