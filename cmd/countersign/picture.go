package main

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/go-analyze/charts"

	"github.com/countersign/countersign/bot/reports"
)

// The size of a picture, in pixels: wide enough for a phone held upright.
const (
	pictureWidth  = 900
	pictureHeight = 640
	maxLabels     = 8 // dates below the bars, of which there is room for no more
)

// Colours that are told apart by those who see no red or no green (the palette
// of Okabe and Ito).
var (
	colorApproved  = charts.ColorRGB(0, 114, 178)
	colorDenied    = charts.ColorRGB(213, 94, 0)
	colorUndecided = charts.ColorRGB(170, 170, 170)
	colorOther     = charts.ColorRGB(204, 121, 167)
	colorTime      = charts.ColorRGB(0, 158, 115)
)

// picture draws r as a PNG: the requests by what became of them, and below it
// the time to a decision. It holds nothing that came from a request.
func picture(r *reports.Report) ([]byte, error) {
	unit, bars := r.Bars()
	var dates []string
	kinds := make([][]float64, 4)
	var medians []float64
	for _, b := range bars {
		day, err := time.Parse(time.DateOnly, b.Date)
		if err != nil {
			return nil, fmt.Errorf("date of a bar: %w", err)
		}
		layout := "2 Jan"
		if unit == "4 weeks" || unit == "52 weeks" {
			layout = "1/2006"
		}
		dates = append(dates, day.Format(layout))
		for i, n := range []int{b.Approved, b.Denied, b.Waiting, b.Other} {
			kinds[i] = append(kinds[i], float64(n))
		}
		medians = append(medians, b.Median)
	}
	seconds, in := timeUnit(slices.Max(medians))
	for i, m := range medians {
		if medians[i] = m / seconds; m == 0 {
			medians[i] = charts.GetNullValue() // nobody decided: not even a line
		}
	}
	p := charts.NewPainter(charts.PainterOptions{OutputFormat: charts.ChartOutputPNG, Width: pictureWidth, Height: pictureHeight})
	theme := charts.GetTheme(charts.ThemeLight)
	p.FilledRect(0, 0, pictureWidth, pictureHeight, theme.GetBackgroundColor(), theme.GetBackgroundColor(), 0)

	upper := charts.NewBarChartOptionWithData(kinds)
	upper.Theme = theme.WithSeriesColors([]charts.Color{colorApproved, colorDenied, colorUndecided, colorOther})
	upper.StackSeries = charts.Ptr(true)
	upper.Title.Text = "Requests by " + unit
	upper.CategoryAxis.Labels, upper.CategoryAxis.LabelCount = dates, maxLabels
	upper.Legend = charts.LegendOption{SeriesNames: []string{"approved", "denied", "undecided", "ended otherwise"}, Offset: charts.OffsetRight}
	upper.ValueAxis = []charts.ValueAxisOption{{Min: charts.Ptr(0.0)}}
	upper.ValueFormatter = whole
	if err := p.Child(charts.PainterBoxOption(charts.NewBox(0, 0, pictureWidth, pictureHeight*3/5))).BarChart(upper); err != nil {
		return nil, fmt.Errorf("draw the requests: %w", err)
	}

	lower := charts.NewBarChartOptionWithData([][]float64{medians})
	lower.Theme = theme.WithSeriesColors([]charts.Color{colorTime})
	lower.Title.Text = "Half of the decisions within, in " + in
	lower.CategoryAxis.Labels, lower.CategoryAxis.LabelCount = dates, maxLabels
	lower.Legend.Show = charts.Ptr(false)
	lower.ValueFormatter = func(n float64) string { return fmt.Sprint(math.Round(n*10) / 10) }
	lower.ValueAxis = []charts.ValueAxisOption{{Min: charts.Ptr(0.0)}}
	if err := p.Child(charts.PainterBoxOption(charts.NewBox(0, pictureHeight*3/5, pictureWidth, pictureHeight))).BarChart(lower); err != nil {
		return nil, fmt.Errorf("draw the time to a decision: %w", err)
	}
	return p.Bytes()
}

// timeUnit is the unit for times of up to most seconds, and how many seconds
// it has.
func timeUnit(most float64) (seconds float64, name string) {
	switch {
	case most < 2*60:
		return 1, "seconds"
	case most < 2*60*60:
		return 60, "minutes"
	case most < 48*60*60:
		return 60 * 60, "hours"
	}
	return 24 * 60 * 60, "days"
}

// whole is a number of requests at an axis, of which there is no half.
func whole(n float64) string {
	if n != float64(int(n)) {
		return ""
	}
	return fmt.Sprint(int(n))
}
