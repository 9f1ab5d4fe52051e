print("insider")
