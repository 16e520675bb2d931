package demo

import (
	"fmt"
	"slices"
	"strings"
)

// Products is how many products the shop sells.
const Products = 500

type product struct {
	ID       int     `json:"id"`
	Name     string  `json:"name"`
	Category string  `json:"category"`
	Price    float64 `json:"price"`
}

// catalogue holds the product i+1 at i: the same ones in every shop.
var catalogue = func() []product {
	adjectives := []string{"Plain", "Fine", "Small", "Large", "Blue", "Red", "Old", "New"}
	nouns := []string{"cup", "chair", "lamp", "coat", "book", "desk", "clock", "bag", "shoe"}
	out := make([]product, Products)
	for i := range out {
		id := i + 1
		out[i] = product{
			ID: id, Name: fmt.Sprintf("%s %s %d", adjectives[id%len(adjectives)], nouns[id%len(nouns)], id),
			Category: nouns[id%len(nouns)], Price: float64(500+id*37%9500) / 100,
		}
	}
	return out
}()

// names holds the name of the product i+1 at i, in lower case.
var names = func() []string {
	out := make([]string, Products)
	for i, p := range catalogue {
		out[i] = strings.ToLower(p.Name)
	}
	return out
}()

func productOf(id int) (product, bool) {
	if id < 1 || id > Products {
		return product{}, false
	}
	return catalogue[id-1], true
}

// find returns at most limit products whose names hold all words of a query, and how many products do.
func find(query string, limit int) (found []product, count int) {
	words := strings.Fields(strings.ToLower(query))
	for i, name := range names {
		if slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(name, w) }) {
			continue
		}
		if count++; count <= limit {
			found = append(found, catalogue[i])
		}
	}
	return found, count
}
