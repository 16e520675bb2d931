package demo

import (
	"fmt"
	"strings"
)

// Products is how many products the shop sells.
const Products = 500

type product struct {
	ID    int     `json:"id"`
	Name  string  `json:"name"`
	Price float64 `json:"price"`
	Stock int     `json:"stock"`
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
			Price: float64(500+id*37%9500) / 100, Stock: id * 7 % 100,
		}
	}
	return out
}()

func productOf(id int) (product, bool) {
	if id < 1 || id > Products {
		return product{}, false
	}
	return catalogue[id-1], true
}

// find returns at most limit products whose names hold the words, in lower case.
func find(words string, limit int) []product {
	found := []product{}
	for _, p := range catalogue {
		if len(found) == limit {
			break
		}
		if strings.Contains(strings.ToLower(p.Name), words) {
			found = append(found, p)
		}
	}
	return found
}
